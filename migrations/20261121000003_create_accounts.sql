-- Who may speak to the server, from which device, and for which grids. A null street is an account of the whole deployment.
create table account (
    username text primary key,
    display_name text not null,
    role text not null check (role in ('secretary', 'reviewer', 'officer', 'admin', 'auditor')),
    street text references street,
    -- argon2id in PHC form; null for accounts that only enrol phones.
    password_hash text,
    created_at timestamptz not null,
    disabled_at timestamptz
);
create table device (
    device uuid primary key,
    username text not null references account,
    name text not null,
    platform text not null,
    created_at timestamptz not null,
    last_sync_at timestamptz,
    client_version text,
    revoked_at timestamptz,
    wipe boolean not null default false
);
create index device_by_username on device (username);
create table enrolment (
    code_hash bytea primary key,
    username text not null references account,
    expires_at timestamptz not null,
    spent_at timestamptz
);
-- A rotated refresh token stays as a row with `spent_at`: seeing it again revokes the device's whole chain.
create table refresh_token (
    token_hash bytea primary key,
    device uuid not null references device,
    issued_at timestamptz not null,
    expires_at timestamptz not null,
    spent_at timestamptz
);
create index refresh_token_by_device on refresh_token (device);
-- Signing keys are shared by all servers of a deployment. A key signs until `retires_at` and verifies until `forgotten_at`.
create table signing_key (
    kid text primary key,
    secret bytea not null,
    created_at timestamptz not null,
    retires_at timestamptz not null,
    forgotten_at timestamptz not null
);
