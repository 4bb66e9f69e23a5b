"""PartPay: tokens, the five calls, what answers and callbacks prove.

requests is loaded without its guesser of character sets: 3 MiB of tables for what is never guessed here. It takes
the absence well, but warns of it. This must come before anything imports requests, so it stands here.
"""

import sys
import warnings

if "charset_normalizer" not in sys.modules:
    sys.modules["charset_normalizer"] = None  # type: ignore[assignment] # an import of it is an ImportError
warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")
