"""The packet path by `guideway replay` and `guideway check`: captures in, captures out, no live device."""
