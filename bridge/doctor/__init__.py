"""`partpay-bridge doctor`: looks at everything that has to be right before a sale, and says what mends it.

- A check looks, finds and says; it changes nothing, and nothing that it does can be taken for a sale.
- A finding says what was looked at, what was found, and, where that is wrong, the command that mends it.
- No fault ends the diagnosis: a check that fails itself is a finding of its own.
- With the daemon running its own word is taken for what it holds; without it the checks look themselves.
"""
