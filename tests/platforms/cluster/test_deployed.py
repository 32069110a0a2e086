"""make deploy from nothing: all that it waits for is said by controllers, none of it by the tests."""

from tools.deploy import READY


def test_an_overlay_gets_ready_by_itself(deployed):
    assert deployed.output.endswith("ready\n")


def test_every_condition_is_about_the_object_as_it_is_now(deployed):
    stale = []
    for kind in READY:
        group, _, name = kind.partition("/")
        for item in deployed.cluster.get(f"{name}.{group}", "--namespace", "food")["items"]:
            seen = item.get("status", {}).get("observedGeneration", item["metadata"]["generation"])
            if seen != item["metadata"]["generation"]:
                stale.append(f"{kind}/{item['metadata']['name']}")
    assert [] == stale
