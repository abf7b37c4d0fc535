"""`python -m fapvideo`: the command line."""

from fapvideo.cli.main import main

if __name__ == "__main__":
    main()
