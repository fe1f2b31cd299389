# One image for every command of `vergeos-gateway`: serve, worker, simulator, doctor, jobs, keys …
ARG PYTHON=3.13-slim

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python -m venv --without-pip /opt/gateway
COPY requirements-image.lock ./
# Wheels alone: nothing is compiled, so no compiler is needed here either.
# An index of your own comes as a secret, which no layer keeps: --secret id=pip.conf,src=$HOME/.config/pip/pip.conf
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m pip --python /opt/gateway/bin/python install --require-hashes --only-binary :all: -r requirements-image.lock
COPY gateway ./gateway
COPY worker ./worker
# The bytecode is made here: the running container cannot write it.
RUN find /opt/gateway/bin -type f -delete \
    && cp -r gateway worker "$(/opt/gateway/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && /opt/gateway/bin/python -m compileall -q -j 0 /opt/gateway/lib \
    && printf '#!/opt/gateway/bin/python\nimport sys\nfrom gateway.__main__ import main\nsys.exit(main())\n' \
        > /opt/gateway/bin/vergeos-gateway \
    && chmod 755 /opt/gateway/bin/vergeos-gateway

FROM python:${PYTHON}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="VergeOS Gateway" \
      org.opencontainers.image.description="One shared MCP and REST endpoint for VergeOS: durable jobs, cached reads" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# What installs and builds packages has no place in a running gateway.
RUN rm -rf /usr/local/lib/python3.*/ensurepip /usr/local/lib/python3.*/site-packages/pip* /usr/local/bin/pip* \
    && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway
COPY --from=build /opt/gateway /opt/gateway
# The base image ships without bytecode; what is imported at the start gets its own, for it cannot be written later.
RUN /opt/gateway/bin/python -c "import gateway.processes, urllib.request"
ENV PATH=/opt/gateway/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=3002 \
    METRICS_PORT=9102 \
    WORKER_METRICS_PORT=9102
USER 10001:10001
WORKDIR /
EXPOSE 3002 9102
# The gateway and the worker alike answer on the metrics port.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-S", "-c", "import os, socket as s; c = s.create_connection(('127.0.0.1', int(os.environ['METRICS_PORT'])), 4); c.sendall(b'GET /livez HTTP/1.0\\r\\n\\r\\n'); assert b' 200 ' in c.recv(64)"]
ENTRYPOINT ["vergeos-gateway"]
CMD ["serve"]
