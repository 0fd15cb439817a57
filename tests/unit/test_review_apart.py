"""The clinic's wing: neither the page's server nor measuring again needs the laboratory."""

import subprocess
import sys


def test_review_needs_no_torch() -> None:
    code = (
        "import sys, myoscope.review.server, myoscope.review.opened; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'monai', 'sklearn'}), "
        "[m for m in sys.modules if m.startswith(('myoscope.lab.', 'myoscope.systems.'))])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[] []"
