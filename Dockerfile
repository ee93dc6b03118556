# Runs of every pipeline as an ordinary user, from the lock; docs/deployment.md.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# Debian keeps no earlier versions to pin.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 app
ENV PIP_NO_CACHE_DIR=1
WORKDIR /app
# Of PyTorch's CPU builds; without it the build with CUDA is taken, 4 GB more.
ARG TORCH_INDEX=""
COPY Makefile requirements.lock ./
RUN make /opt/venv/.locked VENV=/opt/venv LOCKED=1 TORCH_INDEX="${TORCH_INDEX}"
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN make /opt/venv/.installed-run VENV=/opt/venv LOCKED=1 TORCH_INDEX="${TORCH_INDEX}"
# Compiled for whoever runs it: the code of another user is not loaded.
USER 1000
RUN /opt/venv/bin/python -m ssl_kedro.inference.native

FROM ${BASE}
RUN useradd --create-home --uid 1000 app \
    && install --directory --owner app --group app /app /app/data /app/mlruns
COPY --from=build /opt/venv /opt/venv
COPY --from=build --chown=app:app /home/app/.cache /home/app/.cache
WORKDIR /app
COPY pyproject.toml README.md LICENSE .telemetry ./
COPY conf conf
COPY src src
ENV PATH=/opt/venv/bin:${PATH} \
    KEDRO_DISABLE_TELEMETRY=1 \
    MLFLOW_TRACKING_URI=sqlite:////app/data/mlflow.db
USER 1000
CMD ["kedro", "run", "--pipeline", "dual_gating"]
