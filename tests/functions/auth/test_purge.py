"""Old logins are purged."""

from tests.clients import claims_in


def test_old_logins_are_purged_and_young_ones_stay(alone, register, log_in, refresh, database):
    facts = register()
    old, young = log_in(facts).json["refresh_token"], log_in(facts).json["refresh_token"]
    auth = database("auth")
    auth.rows(
        "UPDATE auth.logins SET expires_at = now() - interval '25 hours' WHERE id = CAST(:id AS uuid)",
        id=claims_in(old)["sid"],
    )
    alone("purge").post("/")
    left = auth.rows(
        "SELECT id::text FROM auth.logins WHERE id::text = ANY(CAST(:ids AS text[]))",
        ids=[claims_in(token)["sid"] for token in (old, young)],
    )
    assert [row.id for row in left] == [claims_in(young)["sid"]]
    assert "access_token" in refresh(young).json


def test_more_logins_than_a_batch_are_purged(alone, database):
    auth = database("auth")
    auth.rows(
        "INSERT INTO auth.logins (id, user_id, generation, jti, expires_at)"
        " SELECT gen_random_uuid(), 1, 0, gen_random_uuid(), now() - interval '2 days'"
        "   FROM generate_series(1, 1100)"
    )
    assert alone("purge").post("/").json["logins"] <= 1100
    assert auth.rows("SELECT id FROM auth.logins WHERE expires_at < now() - interval '1 day'") == []
