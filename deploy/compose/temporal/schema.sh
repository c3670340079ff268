#!/bin/sh
# Brings Temporal's two databases to the schema of this image. It may be repeated, and does an upgrade.
set -eu
SQL_PASSWORD=$(cat "$TEMPORAL_PASSWORD_FILE")
export SQL_PASSWORD

bring() {
    temporal-sql-tool --db "$1" setup-schema -v 0.0
    temporal-sql-tool --db "$1" update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

bring temporal temporal
bring temporal_visibility visibility
