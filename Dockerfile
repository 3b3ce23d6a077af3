# The API, the workers and the migrations are one image; compose.yaml says which container does what.
# The lock also names what develops and tests the system, so it is given as constraints: pyproject.toml says what is
# installed, the lock which version, and uv refuses what has another hash. pip cannot do that: with hashes in its
# constraints it refuses the package of this folder, which has none.

FROM node:20-slim AS web
WORKDIR /build/web
COPY web/package.json web/package-lock.json web/.npmrc ./
RUN npm ci
COPY web ./
RUN npm run build

FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV VIRTUAL_ENV=/opt/tunix-rt UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never
RUN uv venv --python /usr/local/bin/python3 "$VIRTUAL_ENV"
WORKDIR /build
COPY pyproject.toml requirements.lock ./
RUN uv pip install --compile-bytecode -r pyproject.toml --extra tunix --extra postgres --constraints requirements.lock
COPY README.md LICENSE hatch_build.py ./
COPY configs ./configs
COPY src ./src
COPY --from=web /build/src/tunix_rt/web/dist ./src/tunix_rt/web/dist
RUN uv pip install --compile-bytecode --no-deps .

FROM python:3.11-slim
ENV PATH=/opt/tunix-rt/bin:$PATH TUNIX_RT_HOME=/var/lib/tunix-rt
# A new volume takes over the owner of the folder that it is mounted on.
RUN useradd --uid 10001 --create-home tunix-rt && install -d -o tunix-rt -g tunix-rt -m 0700 "$TUNIX_RT_HOME"
COPY --from=build /opt/tunix-rt /opt/tunix-rt
USER tunix-rt
WORKDIR /home/tunix-rt
VOLUME ["/var/lib/tunix-rt"]
EXPOSE 8000
ENTRYPOINT ["tunix-rt"]
CMD ["--help"]
