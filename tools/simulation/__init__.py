"""The fault simulation: the very engine, lanes, sessions and codecs of the daemon, on a virtual clock.

A campaign is many small worlds, each made of one number. A world holds a bridge, a few terminals with their
cashiers and customers, the lines between them, and PartPay with its own books. First faults are on, and nothing
wrong may happen; then they are off, and everything has to settle.

From the ground up:

    schedule.py    virtual time: what happens when
    streams.py     one stream of randomness for each source
    faults.py      every fault, with how often it may be drawn; the table behind `--without`
    line.py        the bytes between a port and a terminal, and what befalls them
    frames.py      the checks of both framings, once more, byte by byte
    till.py        a terminal under power, on a line, with its durable storage
    people.py      cashiers and customers
    partpay.py     PartPay over its own books: calls in, HTTP answers out
    network.py     how calls and answers travel, or do not
    callbacks.py   PartPay's callbacks: late, twice, out of order, forged
    disk.py        the journal's file, as it is after a kill, and when it cannot be written
    machine.py     the in-store PC: the daemon's parts, killed and started again
    accidents.py   what happens by itself: cables, power, outages, clocks, disks
    oracles.py     what may never happen, judged by PartPay's books and the terminals' storage
    sometimes.py   what has to happen now and then, or the campaign proves less than it says
    world.py       one world from one number
    campaign.py    many worlds, on several cores; counts, and what was found
    shrink.py      the shortest that still fails
"""
