"""The daemon killed at every crash point, on every way that money can take, as a real process.

shop.py     a shop with a daemon that dies at a point and is started again, beside one PartPay for many shops
ways.py     the ways: what people do, and what PartPay's books must say in the end
kill.py     one way with one death (or several), judged; many at once
__main__.py tools/crash-points
"""
