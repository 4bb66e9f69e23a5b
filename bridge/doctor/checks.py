"""Every check there is, in the order in which a technician would look."""

from typing import Final

from bridge.doctor import callback, machine, partpay, ports
from bridge.doctor.finding import Check
from bridge.doctor.patient import Patient

CHECKS: Final[tuple[Check[Patient], ...]] = (
    Check("configuration", machine.configuration),
    Check("secrets", machine.secrets),
    Check("state-directory", machine.state_directory),
    Check("registry", machine.registry),
    Check("disk", machine.disk),
    Check("journal", machine.journal),
    Check("daemon", machine.daemon),
    Check("other-daemons", machine.other_daemons),
    Check("service", machine.service),
    Check("port-names", ports.names),
    Check("port-rights", ports.rights),
    Check("port-holders", ports.holders),
    Check("port-latency", ports.latency),
    Check("terminals", ports.answers),
    Check("partpay", partpay.reached),
    Check("clock", partpay.clock),
    Check("credentials", partpay.credentials),
    Check("callback-address", callback.address),
    Check("callback-way", callback.comes_back),
)
