"""What scores are worth: the paper's own figures from anybody's predictions, and what the paper leaves out.

`predictions` and `annotations` read, `align` joins them, `hq`, `binary`, `any_hit` and `demographics` compute,
`result` is what they give, and `report` and `charts` show it. Importing this package is cheap.
"""
