#!/bin/sh
# Makes the secrets that docker-compose.yml mounts. What is there stays: run it as often as you like.
#
# Compose mounts files as they are; it cannot give them another owner or mode, and the processes that read them run as
# three different users. So the files can be read by everybody, and the folder by its owner alone.
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
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

if [ -e "$folder/clouds.yaml" ]; then
    chmod 0444 "$folder/clouds.yaml"
else
    echo "now write $folder/clouds.yaml, with the cloud \"coffer\": the service user's account; then run this again"
fi
