"""The PartPay sandbox: what stands in for PartPay in demonstrations and tests. See README.md here."""
