-- Which tables does the service read (docs/contract.md section 6.2), with exactly the deployed column types?
-- positions.device_id is an IMEI and entry_devices.device_id a uuid: every join goes through devices.imei.

CREATE TABLE events (
    id uuid PRIMARY KEY,
    organization_id uuid NOT NULL
);

CREATE TABLE entries (
    id uuid PRIMARY KEY,
    event_id uuid NOT NULL REFERENCES events (id)
);

CREATE TABLE devices (
    id uuid PRIMARY KEY,
    imei text NOT NULL UNIQUE
);

CREATE TABLE entry_devices (
    id uuid PRIMARY KEY,
    entry_id uuid NOT NULL REFERENCES entries (id),
    device_id uuid NOT NULL REFERENCES devices (id)
);

-- No foreign key to devices: the ingestion stores what any tracker sends. TimescaleDB makes this a hypertable on ts upstream.
CREATE TABLE positions (
    device_id text NOT NULL,
    ts timestamptz NOT NULL,
    ingested_at timestamptz NOT NULL DEFAULT now(),
    latitude double precision NOT NULL,
    longitude double precision NOT NULL,
    altitude real NOT NULL,
    angle real NOT NULL,
    speed real NOT NULL,
    satellites smallint NOT NULL,
    priority smallint NOT NULL,
    codec text NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    faulty boolean NOT NULL DEFAULT false,
    UNIQUE (device_id, ts)
);

CREATE INDEX positions_device_ts_idx ON positions (device_id, ts DESC);
CREATE INDEX positions_ts_idx ON positions (ts DESC);
