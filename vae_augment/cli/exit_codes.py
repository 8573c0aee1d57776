"""Exit codes of a command; 0 is done."""

WORK_FAILED, INPUT_WRONG = 1, 2
