# Copy to backend.hcl, which git ignores, then: terraform init -backend-config=backend.hcl
# The credentials are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The store must support conditional writes, which
# the lock uses. If it does not encrypt data, set a key of 32 bytes in base64 in
# AWS_SSE_CUSTOMER_KEY.
bucket                      = "my-terraform-state"
region                      = "fsn1"
endpoints                   = { s3 = "https://fsn1.your-objectstorage.com" }
skip_credentials_validation = true
skip_metadata_api_check     = true
skip_region_validation      = true
skip_requesting_account_id  = true
