"""make deploy, where our images run."""


def test_the_overlay_gets_ready(deployed):
    assert deployed.endswith("ready\n")
