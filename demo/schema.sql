-- The tables of the application: nothing in them knows about sopflow.
CREATE TABLE clients (
    client_id  bigint PRIMARY KEY,
    name       text NOT NULL,
    phone      text,
    created_at timestamptz NOT NULL
);

CREATE TABLE registrations (
    registration_id bigint PRIMARY KEY,
    client_id       bigint NOT NULL REFERENCES clients,
    form_data       jsonb NOT NULL,
    submitted_at    timestamptz NOT NULL
);
