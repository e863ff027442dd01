# docker build -t digitlib . && docker run --rm -p 127.0.0.1:8888:8888 digitlib
FROM python:3.13-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1

RUN useradd --create-home learner
WORKDIR /digitlib
# The packages are a layer of their own, made again only if the pinned versions change.
COPY constraints-run.txt ./
RUN python -m pip install --no-deps --require-hashes -r constraints-run.txt
COPY --chown=learner . .
RUN python -m pip install --no-deps --no-build-isolation -e . && chown learner /digitlib

USER learner
EXPOSE 8888
CMD ["jupyter", "lab", "notebooks", "--ip=0.0.0.0", "--no-browser"]
