"""Images of one's own: a folder in; a segmenter, overlays and files for other tools out.

`classes` reads the class list, `labels` the label formats, `images` the folder, `tune` trains on
the labelled images, `suggest` says which to label next, `outputs` and `report` write what comes
out, and `python -m scrapseg.own FOLDER` checks a folder and runs notebook 07 on it.
"""
