# One image for every part; the command decides which: collector (default), gateway, Dagster webserver or daemon.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app

COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY flywheel_core flywheel_core
COPY collector_api collector_api
COPY flywheel_gateway flywheel_gateway
COPY flywheel_dagster flywheel_dagster
COPY flywheel_cli flywheel_cli
COPY simulation simulation
COPY workspace.yaml ./
RUN pip install --no-cache-dir -c constraints.txt . \
    && useradd --system --user-group --uid 10001 --create-home flywheel \
    && install -d -o 10001 -g 10001 /data /dagster

ENV FLYWHEEL__STORAGE__DATA_DIR=/data DAGSTER_HOME=/dagster
USER 10001
VOLUME ["/data", "/dagster"]
EXPOSE 8080

# Alive is enough here: whether it can store is what /ready tells the balancer.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]

CMD ["flywheel", "collector", "--host", "0.0.0.0", "--port", "8080"]
