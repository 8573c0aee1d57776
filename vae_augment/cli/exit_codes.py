"""What a command's exit code says; 0 is done."""

WORK_FAILED, INPUT_WRONG = 1, 2
