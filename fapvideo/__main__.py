"""`python -m fapvideo`, and `fapvideo`: the command line."""

from typing import NoReturn

from fapvideo.cli.signals import listen


def main() -> NoReturn:
    """Listen to signals before anything is loaded, then run the program."""
    listen()
    from fapvideo.cli.main import main as program

    program()


if __name__ == "__main__":
    main()
