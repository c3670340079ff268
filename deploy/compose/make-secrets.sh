#!/bin/sh
# Makes the secrets that docker-compose.yml mounts: sh deploy/compose/make-secrets.sh HOST…
# HOST is a name or address by which database servers dial the gateway; with a certificate of your own in `gateway/`
# (ca.pem, cert.pem, key.pem), leave it out. What is there stays: run it as often as you like.
#
# The guests' keys and the gateway's certificates are made by tool.sh, in the image, which must have been built.
#
# Compose mounts files as they are; it cannot give them another owner or mode, and the processes that read them run as
# three different users. So the files can be read by everybody, and the folder by its owner alone.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
folder=${COFFER_SECRETS:-$here/secrets}
mkdir -p "$folder/gateway"
folder=$(cd "$folder" && pwd)
chmod 0700 "$folder"

random() {
    od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# keep NAME: what comes in becomes the file, whole, unless there is one
keep() {
    cat >"$folder/.new"
    test -s "$folder/.new"
    chmod 0444 "$folder/.new"
    if [ -e "$folder/$1" ]; then rm -f "$folder/.new"; else mv "$folder/.new" "$folder/$1"; fi
}

random | keep master-key
random | keep postgresql-password
random | keep temporal-password
random | keep records-password

# libpq takes a password from no file but pgpass, which must be 0600 and the reader's own, and a service file.
rm -f "$folder/records-service"  # made from records-password each time
printf '[coffer]\npassword=%s\n' "$(cat "$folder/records-password")" | keep records-service

sh "$here/tool.sh" contract.keys guests >/dev/null  # made from master-key each time
if [ $# -gt 0 ]; then
    sh "$here/tool.sh" gateway.certificates "$folder/gateway" "$@" 127.0.0.1  # 127.0.0.1: for the health check
elif [ ! -e "$folder/gateway/cert.pem" ]; then
    echo "now run this again with the names or addresses by which database servers dial the gateway" >&2
    exit 1
fi

if [ -e "$folder/clouds.yaml" ]; then
    chmod 0444 "$folder/clouds.yaml"
else
    echo "now write $folder/clouds.yaml, with the cloud \"coffer\": the service user's account; then run this again"
fi
