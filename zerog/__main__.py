"""``python -m zerog``."""

from zerog.cli.main import main

main()
