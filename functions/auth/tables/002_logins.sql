-- An access token is good while it has its user's version: one more, and auth's list of revoked tokens tells everybody.
ALTER TABLE users ADD COLUMN token_version integer NOT NULL DEFAULT 0, ADD COLUMN tokens_revoked_at timestamptz;

CREATE INDEX users_tokens_revoked_at ON users (tokens_revoked_at) WHERE tokens_revoked_at IS NOT NULL;

CREATE OR REPLACE VIEW accounts AS
    SELECT id, username, password, first_name, middle_name, last_name, email, mobile_phone, enabled, generation,
           ARRAY(SELECT roles.name::text
                   FROM user_roles JOIN roles ON roles.id = role_id
                  WHERE user_id = users.id ORDER BY roles.id) AS authorities,
           (SELECT coalesce(jsonb_agg(jsonb_build_object('id', roles.id, 'name', roles.name) ORDER BY roles.id), '[]')
              FROM user_roles JOIN roles ON roles.id = role_id
             WHERE user_id = users.id) AS roles,
           token_version
      FROM users
     WHERE confirmed_at IS NOT NULL AND deleted_at IS NULL;

-- Whatever ends a user's logins (disabled, deleted, another password) revokes its access tokens, and so does the loss of
-- a role, whoever does it: a version of the code that knows nothing of this table's new columns too.
CREATE FUNCTION revoke_tokens() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.token_version := OLD.token_version + 1;
    NEW.tokens_revoked_at := now();
    RETURN NEW;
END $$;

CREATE TRIGGER revoke_tokens BEFORE UPDATE ON users
    FOR EACH ROW WHEN (OLD.generation <> NEW.generation) EXECUTE FUNCTION revoke_tokens();

CREATE FUNCTION revoke_tokens_of_lost_role() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    UPDATE users SET token_version = token_version + 1, tokens_revoked_at = now() WHERE id = OLD.user_id;
    RETURN NULL;
END $$;

CREATE TRIGGER revoke_tokens_of_lost_role AFTER DELETE ON user_roles
    FOR EACH ROW EXECUTE FUNCTION revoke_tokens_of_lost_role();

-- For a moment the refresh token before is good too: its answer may have been lost.
ALTER TABLE logins ADD COLUMN jti_before uuid, ADD COLUMN exchanged_at timestamptz;

-- Attempts to log in that were not right, by name and by address (hashed: people type passwords into the wrong field).
CREATE TABLE login_attempts (
    subject  text        PRIMARY KEY,
    attempts integer     NOT NULL,
    since    timestamptz NOT NULL
);

CREATE INDEX login_attempts_since ON login_attempts (since);
