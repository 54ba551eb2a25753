# Copies the newest backup in the bucket, or the one that BACKUP names, to the volume for the restore.
set -eu
listed=$(rclone lsf backups: --files-only --include 'auditflow-*.dump')
newest=$(echo "$listed" | sort | tail -n 1)
if [ -z "${BACKUP:-$newest}" ]; then
    echo "there is no backup in the bucket: is it the folder that rclone.conf calls \"backups\"?" >&2
    exit 1
fi
echo "fetching ${BACKUP:-$newest}"
rclone copy "backups:${BACKUP:-$newest}" /backup --immutable
