"""The audit logs: what people and tokens did, provable by Merkle trees and signed checkpoints"""
