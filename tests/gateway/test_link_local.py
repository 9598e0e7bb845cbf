"""network.allow_link_local: connections to such addresses are made, from the start or after an edit.

Nothing answers there: an address of the loopback interface that is nobody's cannot be reached, which is another
failure than being blocked.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.world import Outside, RunningGateway, until

Start = Callable[..., RunningGateway]
ADDRESS = "http://[fe80::1%lo]:80"


def somewhere_link_local(outside: Outside) -> dict[str, Any]:
    """Return a configuration in which the collector and every model but `code` have the address."""
    return {
        **outside.config(
            models__big__base_url=ADDRESS,
            models__math__base_url=ADDRESS,
            data_collection__storage_endpoint=f"{ADDRESS}/collect",
            routing__fallback_models=["code"],
        ),
        "network": {"allow_link_local": True},
    }


@pytest.mark.parametrize("when", ["from the start", "after an edit"])
def test_a_connection_is_made_where_the_setting_permits_it(outside: Outside, start: Start, when: str) -> None:
    config = somewhere_link_local(outside)
    if when == "after an edit":
        gateway = start(outside.config())
        gateway.write_config(config)
        until(lambda: gateway.metric('flywheel_gateway_reloads_total{result="taken"}') == 1)
    else:
        gateway = start(config)
    assert gateway.chat().headers["x-flywheel-model"] == "code"
    failures = (
        'flywheel_gateway_model_failures_total{model="big",reason="connect_failed"}',
        'flywheel_gateway_collection_failures_total{model="math",reason="connect_failed"}',
        'flywheel_upload_failures_total{reason="ConnectError"}',
    )
    until(lambda: all(gateway.metric(name) >= 1 for name in failures))
