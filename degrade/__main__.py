"""`python -m degrade` is `degrade`."""

from degrade.cli import main

if __name__ == "__main__":
    main()
