#!/usr/bin/env python3
"""Runs the side-by-side comparison for a gateway whose entry points speak plain text: plain.py COMPARE_SCRIPT [options]

The script asks every gateway for TLS before it measures anything. As long as ours has no TLS listeners, only the plain
scenarios can be measured, and that question is left out for it; the other proxies are asked as ever.
"""

import importlib.util
import sys


def main():
    script = sys.argv[1]
    spec = importlib.util.spec_from_file_location("compare", script)
    compare = importlib.util.module_from_spec(spec)
    # Data classes look their module up by name.
    sys.modules["compare"] = compare
    spec.loader.exec_module(compare)
    make_proxies = compare.make_proxies

    def make_plain(options):
        proxies = make_proxies(options)
        for proxy in proxies:
            if proxy.is_target:
                proxy.https = False
        return proxies

    compare.make_proxies = make_plain
    sys.argv = sys.argv[1:]
    return compare.main()


if __name__ == "__main__":
    sys.exit(main())
