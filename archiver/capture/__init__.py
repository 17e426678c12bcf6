"""One capture in a browser. The only package that imports Playwright."""
