#!/bin/sh
# Writes the history of the main branch to files, every ten minutes: src/gitops/gitops/history_files.py.
set -eu
cd "${HISTORY_FOLDER:-/var/lib/history}"
while :; do
  if [ ! -d repository ]; then
    rm -rf new
    git clone --quiet --bare --single-branch --branch "$BRANCH" "$REPOSITORY" new
    mv new repository
  fi
  git -C repository fetch --quiet origin "+refs/heads/$BRANCH:refs/heads/$BRANCH" || echo "fetch failed" >&2
  git -C repository log --first-parent --format='%H %ct' "$BRANCH" > commits.new
  git -C repository log --first-parent --reverse --unified=0 --no-color --format='commit %H %ct' --patch \
    "$BRANCH" -- "apps/*/envs/$ENVIRONMENT/release/kustomization.yaml" > pins.new
  mv commits.new commits
  mv pins.new pins
  sleep 600
done
