# One image for all processes of the control plane. Which one it is, the command says:
#   python -m api                       the API (the default)
#   python -m workflows                 the workflow worker
#   python -m activities                the activity worker
#   python -m gateway                   the gateway
#   python -m api.codec_server          the codec server
#   python -m records upgrade           the records' migrations
#   python -m deploy.compose.namespace  Temporal's namespace and search attributes
# It holds no secret and keeps no state; everything comes by the environment, see docs/settings.md.
FROM python:3.12-slim

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

# Wheels alone: there is no compiler here, and nobody's setup.py runs.
COPY requirements/control.txt /tmp/control.txt
RUN pip install --require-hashes --only-binary :all: --requirement /tmp/control.txt && rm /tmp/control.txt

WORKDIR /coffer
COPY LICENSE ./
COPY contract contract
COPY workflows workflows
COPY activities activities
COPY records records
COPY api api
COPY gateway gateway
COPY deploy deploy
RUN python -m compileall -q .

# A number, so that an orchestrator can tell that it is not root.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin coffer
USER 10001:10001

ENV PYTHONPATH=/coffer PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
EXPOSE 8779 7236
CMD ["python", "-m", "api"]
