"""Keys of pictures: unique in a run, the same in every run."""


class UniqueKeys:
    """Makes keys unique: the second `a.jpg` becomes `a.jpg#2`, the third `a.jpg#3`."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def __call__(self, key: str) -> str:
        n = self._last.get(key, 0) + 1
        unique = key if n == 1 else f"{key}#{n}"
        while n > 1 and unique in self._last:  # an input of that very name came before
            n += 1
            unique = f"{key}#{n}"
        self._last[key] = n
        if unique != key:
            self._last[unique] = 1
        return unique
