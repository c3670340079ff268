#!/bin/sh
# Runs one of Coffer's programs on the folder of secrets: sh deploy/compose/tool.sh MODULE ARGUMENT…
#
# In the image, with that folder and without a network; or with the interpreter that COFFER_PYTHON names. COFFER_SECRETS
# names another folder than ./secrets. What it has written can be read by the containers afterwards, see make-secrets.sh.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
folder=$(cd "${COFFER_SECRETS:-$here/secrets}" && pwd)
export COFFER_MASTER_KEY_FILE="$folder/master-key" COFFER_GUEST_KEY_FILE="$folder/guests.key"

if [ -n "${COFFER_PYTHON:-}" ]; then
    (cd "$here/../.." && "$COFFER_PYTHON" -m "$@")
else
    docker run --rm --network none --read-only --cap-drop ALL --user "$(id -u):$(id -g)" -v "$folder:$folder" \
        -e COFFER_MASTER_KEY_FILE -e COFFER_GUEST_KEY_FILE coffer:0.4.0 python -m "$@"
fi
for each in master-key guests.key gateway/ca.pem gateway/cert.pem gateway/key.pem; do
    if [ -e "$folder/$each" ]; then chmod 0444 "$folder/$each"; fi
done
