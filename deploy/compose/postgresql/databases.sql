-- Roles and databases on one server: Temporal's two, and the records. Run once, by the image, on an empty data folder.
\set temporal_password `cat "$TEMPORAL_PASSWORD_FILE"`
\set records_password `cat "$RECORDS_PASSWORD_FILE"`

CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE ROLE coffer LOGIN PASSWORD :'records_password';

CREATE DATABASE temporal OWNER temporal TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE temporal_visibility OWNER temporal TEMPLATE template0 ENCODING 'UTF8';
CREATE DATABASE coffer OWNER coffer TEMPLATE template0 ENCODING 'UTF8';

-- neither of the two may look into the other's
REVOKE CONNECT ON DATABASE temporal, temporal_visibility, coffer, postgres FROM PUBLIC;
