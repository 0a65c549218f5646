"""Entry point of the DNS pod."""

from todoku.dns.main import main

main()
