"""Where the time of a run goes: `emonet-fast profile`. Above the scorer; no other room imports it."""
