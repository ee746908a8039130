FROM python:3.11-slim AS build
WORKDIR /src
RUN python -m venv /opt/tml-bot
COPY requirements.txt .
RUN /opt/tml-bot/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY bot bot
COPY lifecycle lifecycle
COPY storage storage
COPY sandbox sandbox
# The locked hatchling builds it; --no-build-isolation, because an isolated build would fetch whichever is newest.
COPY requirements-dev.txt .
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements-dev.txt \
 && /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /dist . \
 && /opt/tml-bot/bin/pip install --no-cache-dir --no-deps /dist/*.whl

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --home-dir /var/lib/tml-bot tml-bot
COPY --from=build /opt/tml-bot /opt/tml-bot
ENV PATH=/opt/tml-bot/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
WORKDIR /var/lib/tml-bot
VOLUME /var/lib/tml-bot
EXPOSE 8080
# /healthz, not /readyz: starting the container again does not bring Slack back.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
ENTRYPOINT ["tml-bot"]
CMD ["serve", "--config", "/etc/tml-bot/tml-bot.yaml"]
