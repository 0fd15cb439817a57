"""Stands in for the analysis, fast and with the standard library only: copies a valid result with new random UIDs.

Call: TEMPLATE STUDY OUT. The UIDs are random on purpose: an analysis made twice for the archive shows as two results.
A study whose bytes hold "unreadable" is refused as myoscope refuses it; "crash", "hang" do what they say.
"""

import os
import random
import re
import sys
import time
from pathlib import Path

template, study, out = map(Path, sys.argv[1:])
data = b"".join(path.read_bytes() for path in sorted(study.glob("*.dcm")))
if b"unreadable" in data:
    sys.exit(print("warning: never mind\nmyoscope: expected a heart, found none; send one", file=sys.stderr) or 2)
if b"crash" in data:
    print("Muster^Erika crashed", file=sys.stderr, flush=True)
    os.abort()
if b"hang" in data:
    time.sleep(600)
time.sleep(0.05)
uid = re.search(rb"1\.2\.826\.0\.1\.3680043\.10\.543\.1\.1\d{4}", data)[0]
text = template.read_bytes()
text = text.replace(re.search(rb"[0-9.]*\.543\.1\.10000", text)[0], uid)
old = re.search(rb"\.543\.2\.1(0{30})", text)[1]
text = text.replace(old, b"%030d" % random.SystemRandom().randrange(10**30))
(out / "dicom").mkdir(parents=True)
with (out / "dicom" / "sr.dcm").open("wb") as file:
    for part in (text[:200], text[200:]):
        file.write(part)
        file.flush()
        time.sleep(0.01)
