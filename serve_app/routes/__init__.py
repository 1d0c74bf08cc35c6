"""The surfaces: each module is one router, whose functions parse, call one service, and render."""
