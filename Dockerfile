# The gateway's image. Run it with the engine's socket, the socket's group, the functions, and API keys (docs/access.md):
#
#   docker run -d -p 127.0.0.1:8080:8080 --group-add "$(stat -c %g /var/run/docker.sock)" \
#     -v /var/run/docker.sock:/var/run/docker.sock -v "$PWD/functions:/functions:ro" -v oneshot:/data \
#     -v "$PWD/keys.yml:/run/secrets/oneshot_api_keys:ro" oneshot
ARG BASE_IMAGE=node:26-slim

FROM ${BASE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# No dependency needs its install script; the optional ones build native code that is never loaded.
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM ${BASE_IMAGE}
WORKDIR /app
RUN mkdir -p /functions /data && chown 1000:1000 /data && chmod 700 /data
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json ./
COPY src ./src
ENV NODE_ENV=production \
    ONESHOT_HOST=0.0.0.0 \
    ONESHOT_FUNCTIONS=/functions \
    ONESHOT_DATA=/data
VOLUME /data
EXPOSE 8080
USER 1000:1000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.ONESHOT_PORT ?? 8080}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=2", "src/start.js"]
