"""Look, correct, measure again, in the browser: a small server on loopback and a page made for short-axis work.

`opened` finds study and labels of an OUT folder, `session` holds the labels while a person changes them, `journal`
keeps every stroke on disk, `steps` is one change, `numbers` measures after each, `planes` turns images into bytes,
`server` and `guard` speak HTTP, `static/` is the page.
"""
