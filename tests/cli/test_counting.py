from vae_augment.cli import counting
from vae_augment.cli.counting import counting as shown


def test_where_there_is_no_terminal_a_line_comes_every_half_minute(capsys, monkeypatch):
    seconds = iter([0.0, 10.0, 31.0, 45.0, 62.0])
    monkeypatch.setattr(counting.time, "monotonic", lambda: next(seconds))
    with shown() as counter:
        counter.reset(4_000)
        for _ in range(4):
            counter.update(1_000)
    assert capsys.readouterr().err.splitlines() == [
        "vae-augment: 2,000 of 4,000 images after 31 s",
        "vae-augment: 4,000 of 4,000 images after 62 s",
    ]
