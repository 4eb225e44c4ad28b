#!/bin/sh
# Fills an image's environment, the same for every image: `install.sh locked` puts the lock's wheels into /opt/kubeloop,
# `install.sh own NAME` puts Kubeloop and the list of all that is installed into /layer, which is copied over it.
set -eu
# pip runs out of its own wheel and stays out of the image; the lock is whole, so nothing is resolved again.
PYTHONPATH=$(echo /locked/pip-*.whl)
export PYTHONPATH
pip="python3 -m pip -q --python /opt/kubeloop install --no-index --no-deps"
case "$1" in
locked)
    python3 -m venv --without-pip /opt/kubeloop
    $pip --find-links /locked --require-hashes -r /locked/requirements.txt
    ;;
own)
    $pip --prefix /layer /own/kubeloop-*.whl
    PYTHONPATH=$(echo /layer/lib/python*/site-packages) /opt/kubeloop/bin/python /own/sbom.py "$2" >/layer/sbom.cdx.json
    ;;
esac
