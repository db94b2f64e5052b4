DROP TABLE client_certificates;
DELETE FROM credentials WHERE kind = 'client_certificate';
