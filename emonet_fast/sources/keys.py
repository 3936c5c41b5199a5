"""Keys of pictures: unique in a run, the same in every run."""


class UniqueKeys:
    """Gives each key once: the second `a.jpg` becomes `a.jpg#2`, the third `a.jpg#3`."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def __call__(self, key: str) -> str:
        n = self._last.get(key, 0) + 1
        given = key if n == 1 else f"{key}#{n}"
        while n > 1 and given in self._last:  # an input of that very name came before
            n += 1
            given = f"{key}#{n}"
        self._last[key] = n
        if given != key:
            self._last[given] = 1
        return given
